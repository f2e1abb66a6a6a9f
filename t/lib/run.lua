--- Loads `script` with this configuration and runs its callback for request headers.
-- @return what on_http_request_headers returns
return function(script, vm_id, options)
    local wasm = require("resty.proxy-wasm")
    options = options or {}
    options.vm_id = vm_id
    local plugin = assert(wasm.load("plugin", "target/guests/script.wasm", options))
    local ctx = assert(wasm.on_configure(plugin, script))
    return wasm.on_http_request_headers(ctx)
end
