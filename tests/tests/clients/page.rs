//! What `docs/clients.md` tells people to run, runs.

use std::{fs, process::Command};

use crate::server::{Server, finish, printed, python, repository};

/// The blocks of a language in the page.
fn blocks(language: &str) -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/clients.md")).expect("the page");
    let begin = format!("```{language}\n");
    let parts = page.split(begin.as_str()).skip(1);
    parts.filter_map(|part| Some(part.split_once("\n```")?.0.to_owned())).collect()
}

/// The Rust of the page, as it stands there.
mod shown {
    use cameo_client::{Client, Code, Error, ProfileQuery};

    #[expect(clippy::print_stdout, reason = "as it stands in the page")]
    pub(super) async fn example(url: &str, key: &str) -> Result<(), Error> {
        let client = Client::builder(url, key).cache(10_000).build()?;
        let marketing = client.tenant("marketing");
        let gender = marketing.service("gender");

        match gender.prediction(17).await {
            Ok(one) => println!("{:?} of {}", one.predictions.row(), one.predicted_at),
            Err(error) if error.code() == Some(&Code::UnknownKey) => println!("nobody knows 17"),
            Err(error) => return Err(error),
        }

        let many = gender.predictions(1..=50_000).await?;
        println!("{} of generation {}", many.results.len(), many.generation);

        let profile = marketing.profile(17, &ProfileQuery::default()).await?;
        for attributes in &profile.services {
            println!("{}: {} s old", attributes.service, attributes.age_seconds);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_page_run() {
    let server = Server::start().await;
    shown::example(&server.api.url, &server.key).await.expect("the example in Rust");
    let said = fs::read_to_string(repository().join("tests/tests/clients/page.rs"));
    let said = said.expect("this file");
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let [rust] = blocks("rust").try_into().expect("one example in Rust");
    let example = rust.split_once("async fn").expect("a function").1;
    assert!(plain(&said).contains(&plain(example)), "the page and this test differ:\n{example}");

    let asked: Vec<String> =
        blocks("bash").into_iter().filter(|block| block.contains("curl")).collect();
    assert_eq!(asked.len(), 1, "one block asks with curl");
    let mut command = server.command("bash");
    command.args(["-euc", &asked[0]]);
    let ended = finish(command).await;
    assert!(ended.status.success(), "{}", printed(&ended));
    assert_eq!(printed(&ended).matches("\"generation\"").count(), 3, "{}", printed(&ended));

    if let Some(python) = python() {
        let examples = blocks("python");
        assert_eq!(examples.len(), 2);
        for example in examples {
            let mut command: Command = server.command(&python);
            command.env("PYTHONPATH", "clients/python/src").args(["-c", &example]);
            let ended = finish(command).await;
            assert!(ended.status.success(), "{example}\n{}", printed(&ended));
            let told = printed(&ended);
            assert!(told.contains("250 of generation") || told.trim() == "True", "{told}");
        }
    }
    server.stop().await;
}
