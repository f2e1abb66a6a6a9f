-- The name under which wasm-nginx-module's users, Apache APISIX among them, know this library.

-- APISIX requires it in the stream subsystem too and expects an error there.
require("resty.core.base").allows_subsystem("http")

return require("resty.wasm")
