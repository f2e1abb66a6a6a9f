(module (memory (export "memory") 0) (table $t 1 2 funcref) (elem (i32.const 0) $f) (func $f)
  (type $v (func))
  (func (export "_start") (call_indirect (type $v) (i32.const 0)) (call_indirect (type $v) (i32.const 1))))
