//! Another process's memory, as far as it lets itself be read.

/// Reads memory. Implemented by whoever does the IO.
///
/// The process runs meanwhile: two reads may be of two moments.
pub trait Memory {
    /// Fills `into` from `address` on. False: not all of it could be read; what is in `into` then means nothing.
    fn read(&self, address: u64, into: &mut [u8]) -> bool;

    /// Eight bytes in the host's byte order.
    fn read_u64(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes).then(|| u64::from_ne_bytes(bytes))
    }

    /// Four bytes in the host's byte order.
    fn read_u32(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes).then(|| u32::from_ne_bytes(bytes))
    }

    /// A pointer that is not null.
    fn read_pointer(&self, address: u64) -> Option<u64> {
        self.read_u64(address).filter(|pointer| *pointer != 0)
    }
}
