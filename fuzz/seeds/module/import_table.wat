(module (import "env" "t" (table 1 funcref)) (import "env" "g" (global i32)) (memory (export "memory") 1))
