//! What tests need of the world around: throwaway services that belong to one test and are gone after it.
//!
//! ```
//! let store = gradient_test_support::nix::Store::new("max-jobs = 1")?;
//! assert!(store.root().is_dir());
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod nix;
