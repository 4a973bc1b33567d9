//! Locking a mutex whose data stays right even if a holder panicked: nothing here leaves a structure half
//! changed while it calls code that could panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
