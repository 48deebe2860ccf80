//! How much memory this process may use.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Where control groups are, and below it, in the first version, those of memory.
const GROUPS: &str = "/sys/fs/cgroup";

/// The memory of the machine, or less where a control group, such as a container's, has less. Nothing where the
/// system does not tell.
#[must_use]
pub fn bytes() -> Option<u64> {
    let machine = machine(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limits(&groups).into_iter();
    let least = limits.filter_map(|file| limit(&fs::read_to_string(file).ok()?)).min();
    Some(machine.min(least.unwrap_or(u64::MAX)))
}

fn machine(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}

/// A limit's file says a number of bytes, or that there is none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The files with the limits of the groups of a process, and of the groups above each: all of them hold. Within a
/// container the names of groups may be those outside of it, so the topmost group is always among them.
fn limits(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (Path::new(GROUPS).to_owned(), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (Path::new(GROUPS).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let names =
            Path::new(group).components().filter(|part| matches!(part, Component::Normal(_)));
        let group: PathBuf = names.collect();
        files.extend(group.ancestors().map(|group| root.join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_a_group_and_of_those_above_it_are_looked_at() {
        let of = |groups| -> Vec<String> {
            limits(groups).iter().map(|file| file.display().to_string()).collect()
        };
        assert_eq!(
            of("0::/system.slice/cameo.service\n"),
            [
                "/sys/fs/cgroup/system.slice/cameo.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            of("9:cpu,cpuacct:/a\n4:hugetlb,memory:/a\n1:name=systemd:/a\n"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        // A container that sees itself as the root, beside groups that are not its own.
        assert_eq!(of("0::/../other"), of("0::/other"));
        assert_eq!(of(""), Vec::<String>::new());
        assert_eq!(of("no line of the kind"), Vec::<String>::new());
    }

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!(limit("2147483648\n"), Some(2 << 30));
        assert_eq!(limit("max\n"), None);
        assert_eq!(machine("MemTotal:       24576 kB\nMemFree: 1 kB\n"), Some(24 << 20));
        assert_eq!(machine("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(bytes().is_some_and(|bytes| bytes > 64 << 20));
    }
}
