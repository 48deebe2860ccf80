//! What all answers have in common: the headers, and a problem for each code of an error.

use utoipa::openapi::{
    Content, Header, Ref, RefOr, Response,
    example::ExampleBuilder,
    path::Operation,
    schema::{ObjectBuilder, Type},
};

use super::example;
use crate::problem::{Code, PROBLEM_JSON};

/// Adds a problem to the answers of an operation: as the answer of its status, or as a further example there.
pub(crate) fn add_problem(operation: &mut Operation, code: Code) {
    let status = code.status().as_str().to_owned();
    let responses = &mut operation.responses.responses;
    let answer = responses.entry(status).or_insert_with(|| {
        let mut response = Response::new(code.title());
        let schema = Ref::from_schema_name("Problem");
        response.content.insert(PROBLEM_JSON.to_owned(), Content::new(Some(schema)).into());
        RefOr::T(response)
    });
    if let RefOr::T(response) = answer
        && let Some(RefOr::T(content)) = response.content.get_mut(PROBLEM_JSON)
    {
        insert(content, code);
    }
}

fn insert(content: &mut Content, code: Code) {
    let example = ExampleBuilder::new().summary(code.title()).value(Some(example(code))).build();
    content.examples.entry(code.as_str().to_owned()).or_insert(example.into());
}

/// Names the examples of problems by their codes, and adds the headers that answers of these statuses have.
pub(super) fn complete(path: &str, operation: &mut Operation) {
    for (status, answer) in &mut operation.responses.responses {
        let RefOr::T(response) = answer else { continue };
        if let Some(RefOr::T(content)) = response.content.get_mut(PROBLEM_JSON) {
            // A handler gives one example, of the code that it says most of.
            let own = content.example.take();
            let is_own = |code: &Code| own.as_ref().is_some_and(|own| own["code"] == code.as_str());
            if let Some(code) = Code::ALL.into_iter().find(is_own) {
                insert(content, code);
            }
        }
        let mut add = |name: &str, kind: Type, description: &str| {
            let schema = ObjectBuilder::new().schema_type(kind).build();
            let mut header = Header::new(schema);
            header.description = Some(description.to_owned());
            response.headers.entry(name.to_owned()).or_insert(header.into());
        };
        add("x-request-id", Type::String, "Names the request; the server's log has it as well.");
        if path.starts_with("/v1/") {
            add(
                "ratelimit-policy",
                Type::String,
                "How many requests the key may make in which time.",
            );
            add("ratelimit", Type::String, "How many of them are left, and until when.");
        }
        match status.as_str() {
            "401" => add("www-authenticate", Type::String, "How to authenticate."),
            "429" | "503" => {
                add("retry-after", Type::Integer, "After how many seconds to try again.");
            }
            _ => {}
        }
    }
}
