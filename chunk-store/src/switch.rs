//! Switches that put one rule of the design out of force, so that `cargo xtask mutants` can see what notices.
//!
//! They exist only in builds with `--cfg coldkeep_switches`; elsewhere every rule is in force, and nothing is left of them.

/// Returns whether `rule` is out of force.
#[cfg(not(coldkeep_switches))]
#[inline]
pub const fn is_off(_rule: &str) -> bool {
    false
}

/// Returns whether `rule` is out of force: it is if the environment variable `COLDKEEP_OFF` names it.
#[cfg(coldkeep_switches)]
pub fn is_off(rule: &str) -> bool {
    static OFF: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("COLDKEEP_OFF").ok());
    OFF.as_deref() == Some(rule)
}
