//! Keeps the process small: what was allocated in large pieces goes back to the kernel when it is freed.
//!
//! The allocator raises its threshold for such pieces by itself, up to 32 MiB. A login's hash takes 16 MiB, so
//! without this every thread that ever hashed would keep that much for ever.

/// Pieces from this size on are mapped one by one.
const LARGE: libc::c_int = 1 << 20;
/// Heaps that threads may have; each keeps what it once had.
const HEAPS: libc::c_int = 2;

/// Tells the allocator. To be called before threads are started.
pub(crate) fn return_early() {
    #[cfg(target_env = "gnu")]
    #[expect(
        unsafe_code,
        reason = "the allocator of the C library is set through its own function only"
    )]
    // SAFETY: mallopt reads two integers; no other thread runs yet.
    let set = unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) != 0
            && libc::mallopt(libc::M_ARENA_MAX, HEAPS) != 0
    };
    #[cfg(target_env = "gnu")]
    if !set {
        tracing::debug!("the allocator keeps its own thresholds");
    }
}
