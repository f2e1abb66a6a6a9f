(module (memory (export "memory") 0)
  (func (export "_start") (drop (memory.grow (i32.const 15))) (drop (memory.grow (i32.const 2)))))
