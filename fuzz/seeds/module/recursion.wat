(module (memory (export "memory") 0) (func $f (export "_start") (call $f)))
