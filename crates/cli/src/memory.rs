//! Memory, as it is had from the kernel.

/// Has it given in small pages, where the allocator asks for huge ones. A huge page is cleared whole when it is first
/// touched, some 5 ms in which a thread of the runtime does nothing else; and none is given back for what is free in it.
pub fn refuse_huge_pages() {
    // Where that cannot be had, everything works with them, if not always as fast.
    #[cfg(target_os = "linux")]
    rustix::thread::disable_transparent_huge_pages(true).ok();
}
