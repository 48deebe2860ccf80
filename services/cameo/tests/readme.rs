//! What the README shows is what the repository holds.

mod support;

use std::fs;

fn read(file: &str) -> String {
    fs::read_to_string(support::root().join(file)).expect("a text file")
}

#[test]
fn the_bundle_in_the_readme_is_the_one_in_the_repository() {
    let readme = read("README.md");
    for file in ["config.yaml", "features.sql", "predictions.sql"] {
        let text = read(&format!("tenants/crm/clv/{file}"));
        assert!(readme.contains(&format!("\n{text}```")), "{file} in the README is stale");
    }
}

#[test]
fn every_page_and_folder_that_a_page_links_to_is_there() {
    let mut pages = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in fs::read_dir(support::root().join("docs")).expect("docs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path.strip_prefix(support::root()).expect("below").display().to_string());
        }
    }
    for page in pages {
        let text = read(&page);
        let folder = support::root().join(&page);
        let folder = folder.parent().expect("a folder");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            assert!(folder.join(target).exists(), "{page} links to {target}");
        }
    }
}

#[test]
fn every_command_of_the_help_is_in_the_readme() {
    let (readme, help) = (read("README.md"), support::cameo(&["--help"]).exits(0).stdout);
    let commands = help.split("Commands:\n").nth(1).expect("commands");
    for line in commands.lines().take_while(|line| !line.is_empty()) {
        // A description may go on in a line of its own, further to the right.
        let Some(name) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) else {
            continue;
        };
        let name = name.split_whitespace().next().expect("a name");
        assert!(name == "help" || readme.contains(&format!("cameo {name}")), "{name} is missing");
    }
}
