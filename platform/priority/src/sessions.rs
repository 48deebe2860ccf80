//! Whether the system shares the processor out among sessions before it looks at anybody's priority.

use std::{fs, path::Path};

const SETTING: &str = "/proc/sys/kernel/sched_autogroup_enabled";
const GROUPS: &str = "/proc/self/cgroup";
const GROUP_FOLDER: &str = "/sys/fs/cgroup";

/// Whether each session has an equal share, so that nice values count only within one. A process of Postgres is a
/// session, and Cameo as a whole is another. It is so where the setting is on and no control group, as of a container or
/// of a unit with `CPUWeight=`, has a share of its own.
#[must_use]
pub fn are_grouped() -> bool {
    let is_on = fs::read_to_string(SETTING).is_ok_and(|setting| setting.trim() == "1");
    let has_weight = |group: &str| {
        let folder = Path::new(GROUP_FOLDER).join(group.trim_start_matches('/'));
        folder
            .ancestors()
            .take_while(|folder| folder.starts_with(GROUP_FOLDER))
            .any(|folder| fs::exists(folder.join("cpu.weight")).unwrap_or_default())
    };
    is_on && fs::read_to_string(GROUPS).is_ok_and(|groups| !have_a_share(&groups, has_weight))
}

/// Whether one of the groups, a line `number:controllers:path` each, has a share. Of version 1 the one with the
/// controller `cpu` does, unless it is the root; of version 2, which names no controllers, one that has a weight.
fn have_a_share(groups: &str, has_weight: impl Fn(&str) -> bool) -> bool {
    let mut fields = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    fields.any(|(controllers, path)| match controllers {
        "" => has_weight(path),
        _ => controllers.split(',').any(|controller| controller == "cpu") && path != "/",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_a_group_with_a_weight_or_below_the_root_of_the_first_version() {
        let weighs = |group: &str| group == "/system.slice/cameo.service";
        assert!(have_a_share("0::/system.slice/cameo.service\n", weighs));
        assert!(!have_a_share("0::/user.slice\n", weighs));
        assert!(have_a_share("4:cpu,cpuacct:/docker/1\n0::/\n", weighs));
        assert!(!have_a_share("4:cpuset:/docker/1\n3:cpu:/\n0::/\n", weighs));
        assert!(!have_a_share("", weighs));
    }
}
