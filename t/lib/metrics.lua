--- The metrics that plugins have defined, as text: without those that the library counts itself.
return function()
    return (require("resty.wasm.metrics").prometheus():gsub("[^\n]*resty_wasm_[^\n]*\n", ""))
end
