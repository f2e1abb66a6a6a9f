use crate::error::Trap;

/// How long a name may be, in bytes. To look up a longer one would take long, and no deadline ends that.
pub const LONGEST_NAME: usize = 1 << 20;

/// The linear memory of a guest. Every pointer that a guest hands over is resolved here and nowhere else.
pub struct GuestMemory<'a>(&'a mut [u8]);

impl<'a> GuestMemory<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    /// The `size` bytes at `pointer`. A size of 0 gives no bytes, wherever the pointer points.
    ///
    /// # Errors
    /// A trap when any of them is outside of the memory.
    #[inline]
    pub fn bytes(&self, pointer: u32, size: u32) -> Result<&[u8], Trap> {
        let range = self.range(pointer, size)?;
        Ok(&self.0[range])
    }

    /// As [`Self::bytes`], for what the host looks up: a header's name, a property's path, a key.
    ///
    /// # Errors
    /// As [`Self::bytes`]; a trap when there are more than [`LONGEST_NAME`].
    #[inline]
    pub fn name(&self, pointer: u32, size: u32) -> Result<&[u8], Trap> {
        check_name(self.bytes(pointer, size)?)
    }

    /// As [`Self::name`], for as long as the memory itself is borrowed.
    ///
    /// # Errors
    /// As [`Self::name`].
    #[inline]
    pub fn into_name(self, pointer: u32, size: u32) -> Result<&'a [u8], Trap> {
        let range = self.range(pointer, size)?;
        check_name(&self.0[range])
    }

    /// The `size` bytes at `pointer`, to be written.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    #[inline]
    pub fn bytes_mut(&mut self, pointer: u32, size: u32) -> Result<&mut [u8], Trap> {
        let range = self.range(pointer, size)?;
        Ok(&mut self.0[range])
    }

    /// Reads a little-endian number.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    #[inline]
    pub fn read_u32(&self, pointer: u32) -> Result<u32, Trap> {
        let bytes = self.bytes(pointer, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Writes a little-endian number; `pointer` need not be aligned.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    #[inline]
    pub fn write_u32(&mut self, pointer: u32, value: u32) -> Result<(), Trap> {
        self.bytes_mut(pointer, 4)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Writes a little-endian number; `pointer` need not be aligned.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn write_u64(&mut self, pointer: u32, value: u64) -> Result<(), Trap> {
        self.bytes_mut(pointer, 8)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn range(&self, pointer: u32, size: u32) -> Result<std::ops::Range<usize>, Trap> {
        if size == 0 {
            return Ok(0..0);
        }
        let (start, end) = (pointer as usize, pointer as usize + size as usize);
        if end > self.0.len() {
            return Err(Trap::OutOfBounds { pointer, size, memory: self.0.len() });
        }
        Ok(start..end)
    }
}

#[inline]
fn check_name(name: &[u8]) -> Result<&[u8], Trap> {
    if name.len() > LONGEST_NAME { Err(Trap::NameLimit { size: name.len() }) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_can_be_read_and_the_one_after_it_cannot() {
        let mut bytes = [1, 2, 3, 4];
        let memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.bytes(3, 1), Ok(&[4][..]));
        assert!(memory.bytes(4, 1).is_err());
        assert!(memory.bytes(3, 2).is_err());
    }

    #[test]
    fn pointers_and_sizes_that_are_negative_as_i32_are_out_of_bounds() {
        let mut bytes = [0; 8];
        let mut memory = GuestMemory::new(&mut bytes);
        for (pointer, size) in [(u32::MAX, 1), (u32::MAX - 3, 8), (0, u32::MAX), (u32::MAX, u32::MAX), (1 << 31, 4)] {
            assert!(memory.bytes(pointer, size).is_err(), "{pointer} {size}");
            assert!(memory.bytes_mut(pointer, size).is_err(), "{pointer} {size}");
        }
        assert!(memory.write_u32(5, 0).is_err());
        assert!(memory.write_u64(1, 0).is_err());
    }

    #[test]
    fn no_bytes_can_be_read_anywhere() {
        let mut bytes = [];
        assert_eq!(GuestMemory::new(&mut bytes).bytes(u32::MAX, 0), Ok(&[][..]));
    }

    #[test]
    fn numbers_are_little_endian_and_need_no_alignment() {
        let mut bytes = [0; 16];
        let mut memory = GuestMemory::new(&mut bytes);
        memory.write_u32(1, 0x0403_0201).unwrap();
        memory.write_u64(7, 0x0807_0605_0403_0201).unwrap();
        assert_eq!(memory.bytes(1, 4), Ok(&[1, 2, 3, 4][..]));
        assert_eq!(memory.bytes(7, 8), Ok(&[1, 2, 3, 4, 5, 6, 7, 8][..]));
        assert_eq!(memory.read_u32(7), Ok(0x0403_0201));
    }
}
