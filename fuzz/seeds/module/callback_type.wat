(module (memory (export "memory") 1) (func (export "proxy_on_done") (param f32)))
