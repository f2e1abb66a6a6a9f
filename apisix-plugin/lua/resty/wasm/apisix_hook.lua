-- The lua_module_hook of an Apache APISIX on stock OpenResty. From 1.27.1.1 on, OpenResty's balancer has an enable_keepalive of its
-- own. APISIX takes one for that of apisix-nginx-module and calls it in that module's way: every request that is proxied would fail.
-- Without one, APISIX uses nginx's keepalive.

if not package.searchpath("resty.apisix.patch", package.path) then
    require("ngx.balancer").enable_keepalive = nil
end
