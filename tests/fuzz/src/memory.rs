//! How much memory something holds at its most.

use peak_alloc::PeakAlloc;

/// Counts for every target that is linked with this crate.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs something, which may hold at its most so many bytes more than before.
///
/// # Panics
/// When it held more.
pub fn within<T>(most: usize, run: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let answer = run();
    let held = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(held <= most, "it held {held} bytes where {most} are allowed");
    answer
}
