//! The document is complete: whoever writes a client needs nothing else.

use serde_json::{Map, Value};

use crate::json_schema::problems;

/// What ends a check of the whole document.
struct Breaches(Vec<String>);

impl Breaches {
    fn unless(&mut self, holds: bool, breach: impl FnOnce() -> String) {
        if !holds {
            self.0.push(breach());
        }
    }
}

impl Drop for Breaches {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{} breaches:\n{}", self.0.len(), self.0.join("\n"));
        }
    }
}

fn document() -> Value {
    serde_json::to_value(cameo_api::document()).expect("a document")
}

/// Every operation with its name.
fn operations(document: &Value) -> Vec<(String, &Map<String, Value>)> {
    let paths = document["paths"].as_object().expect("paths");
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").iter();
        methods.map(move |(method, operation)| {
            let name = format!("{} {path}", method.to_uppercase());
            (name, operation.as_object().expect("an operation"))
        })
    });
    all.collect()
}

fn is_told(value: Option<&Value>) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| text.trim().len() > 1)
}

fn list<'a>(operation: &'a Map<String, Value>, member: &str) -> impl Iterator<Item = &'a Value> {
    operation.get(member).and_then(Value::as_array).into_iter().flatten()
}

#[test]
fn every_operation_says_what_it_is_and_under_which_tag() {
    let document = document();
    let mut breaches = Breaches(Vec::new());
    let tags: Vec<&Value> =
        document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
    let mut ids = Vec::new();
    for (name, operation) in operations(&document) {
        for member in ["summary", "description", "operationId"] {
            breaches.unless(is_told(operation.get(member)), || format!("{name} has no {member}"));
        }
        let own: Vec<&Value> = list(operation, "tags").collect();
        let known = own.len() == 1 && tags.contains(&own[0]);
        breaches.unless(known, || format!("{name} has not one of the document's tags: {own:?}"));
        ids.push(operation.get("operationId").and_then(Value::as_str).unwrap_or_default());
    }
    ids.sort_unstable();
    let twice = ids.windows(2).find(|two| two[0] == two[1]);
    breaches.unless(twice.is_none(), || format!("two operations are {twice:?}"));
}

#[test]
fn every_parameter_is_described_bounded_and_has_an_example_that_fits() {
    let document = document();
    let mut breaches = Breaches(Vec::new());
    for (name, operation) in operations(&document) {
        for parameter in list(operation, "parameters") {
            let name = format!("{name} {}", parameter["name"]);
            let (schema, example) = (&parameter["schema"], &parameter["example"]);
            breaches.unless(is_told(parameter.get("description")), || {
                format!("{name} has no description")
            });
            breaches.unless(!example.is_null(), || format!("{name} has no example"));
            let wrong = problems(&document, schema, example);
            breaches.unless(example.is_null() || wrong.is_empty(), || format!("{name}: {wrong:?}"));
            let has = |keywords: &[&str]| keywords.iter().all(|one| schema.get(one).is_some());
            let bounded = match schema["type"].as_str() {
                Some("boolean") => true,
                Some("integer" | "number") => has(&["minimum", "maximum"]),
                Some("string") => has(&["enum"]) || has(&["format"]) || has(&["maxLength"]),
                _ => schema.get("$ref").is_some(),
            };
            breaches.unless(bounded, || format!("{name} has no bounds: {schema}"));
        }
    }
}

#[test]
fn every_error_is_a_problem_with_an_example_of_each_code_and_every_answer_is_named() {
    let document = document();
    let mut breaches = Breaches(Vec::new());
    for (name, operation) in operations(&document) {
        let is_open = name.ends_with('z') || name.ends_with("/metrics");
        let answers = operation["responses"].as_object().expect("responses");
        let has_body = operation.contains_key("requestBody");
        let has_name = name.contains('{');
        let mut due = vec!["500", "504"];
        due.extend((!is_open).then_some(["400", "401", "403", "503"]).into_iter().flatten());
        due.extend(has_name.then_some("404"));
        due.extend(has_body.then_some("413"));
        for status in due {
            breaches.unless(answers.contains_key(status), || format!("{name} has no {status}"));
        }
        for (status, answer) in answers {
            let name = format!("{name} {status}");
            breaches.unless(is_told(answer.get("description")), || format!("{name} is not told"));
            let headers = &answer["headers"];
            let mut due = vec!["x-request-id"];
            due.extend(match status.as_str() {
                "401" => vec!["www-authenticate"],
                "429" | "503" => vec!["retry-after"],
                _ => vec![],
            });
            for header in due {
                let header = &headers[header];
                breaches.unless(is_told(header.get("description")), || format!("{name}: {header}"));
            }
            if status.as_str() < "400" {
                continue;
            }
            let content = answer["content"].as_object().expect("a problem");
            let media: Vec<&String> = content.keys().collect();
            breaches.unless(media == ["application/problem+json"], || format!("{name}: {media:?}"));
            let examples = content["application/problem+json"]["examples"].as_object();
            for (code, example) in examples.into_iter().flatten() {
                let told = &example["value"];
                let fits =
                    told["code"] == code.as_str() && told["status"].as_u64() == status.parse().ok();
                breaches.unless(fits, || format!("{name} has a wrong example: {told}"));
            }
            let has_one = examples.is_some_and(|examples| !examples.is_empty());
            breaches.unless(has_one, || format!("{name} has no example"));
        }
    }
}

#[test]
fn every_example_fits_its_schema() {
    let document = document();
    let mut breaches = Breaches(Vec::new());
    let mut seen = 0;
    walk(&document, &mut |at, node| {
        // A schema carries examples of itself; media types and headers carry a schema beside them.
        let schema = node.get("schema").cloned().unwrap_or_else(|| {
            let mut own = node.clone();
            own.remove("example");
            own.remove("examples");
            Value::Object(own)
        });
        let named = node.get("examples").and_then(Value::as_object).into_iter().flatten();
        let listed = node.get("examples").and_then(Value::as_array).into_iter().flatten();
        let examples = node.get("example").into_iter().chain(listed);
        for example in examples.chain(named.map(|(_, example)| &example["value"])) {
            seen += 1;
            let wrong = problems(&document, &schema, example);
            breaches.unless(wrong.is_empty(), || format!("{at}: {}", wrong.join("; ")));
        }
    });
    breaches.unless(seen > 300, || format!("the walk found {seen} examples only"));
}

#[test]
fn a_request_body_is_closed_and_every_member_of_a_schema_is_described() {
    let document = document();
    let mut breaches = Breaches(Vec::new());
    for (name, operation) in operations(&document) {
        let content = operation.get("requestBody").map(|body| &body["content"]["application/json"]);
        let Some(content) = content.filter(|content| !content.is_null()) else { continue };
        let reference = content["schema"]["$ref"].as_str().unwrap_or_default();
        let schema = document.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
        let is_closed = schema["additionalProperties"] == Value::Bool(false);
        breaches.unless(is_closed, || format!("{name} takes unknown members: {reference}"));
        let has_example = content.get("example").or_else(|| content.get("examples")).is_some();
        breaches.unless(has_example, || format!("{name} has no example of its body"));
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        breaches.unless(is_told(schema.get("description")), || format!("{name} is not described"));
        for (member, part) in schema["properties"].as_object().into_iter().flatten() {
            let parts = part["oneOf"].as_array().into_iter().flatten();
            let told = parts.chain([part]).any(|part| is_told(part.get("description")));
            breaches.unless(told, || format!("{name}.{member} is not described"));
        }
    }
}

/// Visits every object that has examples, but those below examples themselves.
fn walk(node: &Value, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
    fn below(at: &str, node: &Value, visit: &mut impl FnMut(&str, &Map<String, Value>)) {
        match node {
            Value::Object(members) => {
                let is_property = at.ends_with("/properties");
                if !is_property
                    && (members.contains_key("example") || members.contains_key("examples"))
                {
                    visit(at, members);
                }
                for (name, part) in members {
                    if is_property || !["example", "examples"].contains(&name.as_str()) {
                        below(&format!("{at}/{name}"), part, visit);
                    }
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    below(&format!("{at}/{place}"), item, visit);
                }
            }
            _ => {}
        }
    }
    below("", node, visit);
}
