//! Reads that do not wait for the device.
//!
//! rustix does them too, but only into memory that is filled already; to fill it first takes longer than
//! to verify what was read.
#![expect(unsafe_code, reason = "a system call that writes into memory which is not filled yet")]

use std::fs::File;
use std::os::fd::AsRawFd as _;

use rustix::io::Errno;

/// Appends to `out` up to `len` bytes from `offset` that memory holds; [`Errno::AGAIN`] if it holds
/// none of them.
pub(super) fn read(
    file: &File,
    out: &mut Vec<u8>,
    len: usize,
    offset: u64,
) -> Result<usize, Errno> {
    let offset = i64::try_from(offset).map_err(|_| Errno::INVAL)?;
    out.reserve_exact(len);
    let room = out.spare_capacity_mut().get_mut(..len).unwrap_or_default();
    let room = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: `room` is one piece of memory of `out`, which nobody else uses meanwhile. The kernel
    // writes at most its length into it, and reads nothing.
    let read =
        unsafe { libc::preadv2(file.as_raw_fd(), &raw const room, 1, offset, libc::RWF_NOWAIT) };
    let Ok(read) = usize::try_from(read) else {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    };
    // SAFETY: the kernel has just filled so many bytes behind those that were there, and there is
    // room for them.
    unsafe { out.set_len(out.len() + read) };
    Ok(read)
}
