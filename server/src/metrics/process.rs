//! What the system says of this process.

use super::series::Series;

/// Memory and descriptors; what cannot be read is left out. Blocks for a moment: these files never touch a disk.
pub(super) fn gather() -> Vec<Series> {
    let resident = std::fs::read_to_string("/proc/self/status").ok().and_then(|text| resident_bytes(&text));
    let descriptors = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let resident = resident.map(|bytes| {
        Series::gauge("process_resident_memory_bytes", "Resident memory of the server").with(bytes as f64)
    });
    let descriptors = descriptors.map(|count| {
        // The one that reads the folder is counted, too.
        Series::gauge("process_open_fds", "Open file descriptors").with(count.saturating_sub(1) as f64)
    });
    resident.into_iter().chain(descriptors).collect()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t2\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes("VmRSS: a lot"), None);
        assert_eq!(gather().len(), 2);
    }
}
