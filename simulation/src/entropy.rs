//! The randomness that no trait reaches: tokio draws where a `select!` begins and in which order those wake who watch
//! one channel, and seeds that from the process's hash maps, which ask the kernel. Its own way to set a seed is not in
//! its stable interface. So this program answers for the kernel: the function below takes the place of the C library's.
//!
//! Tokio mixes in a number that counts runtimes in the process. Hence one run a process, and one runtime in it.

use std::sync::atomic::{AtomicU64, Ordering};

static DRAWN: AtomicU64 = AtomicU64::new(0);

/// What the process draws from now on follows from the seed alone.
pub fn begin(seed: u64) {
    DRAWN.store(seed, Ordering::SeqCst);
}

/// Fills what it is given, always.
// The one place where the linker must find a symbol by its C name: there is no safe way to say so.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, bytes: usize, _flags: u32) -> isize {
    for place in 0..bytes {
        let drawn = DRAWN.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        // SAFETY: the caller of getrandom(2) hands over a buffer of so many bytes.
        unsafe { buffer.add(place).write((drawn >> 56) as u8 ^ (drawn >> 24) as u8) };
    }
    isize::try_from(bytes).unwrap_or(isize::MAX)
}
