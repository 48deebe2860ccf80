//! Every operation under `/v1`, from the document, which comes from the router: what is new is swept
//! without anybody remembering it.

use axum::http::Method;
use cameo_domain::Scope;
use serde_json::Value;

/// An operation of the API.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    /// The path with its parameters in braces.
    pub(crate) template: String,
    /// The scope that it declares; none where it answers every caller that is let in.
    pub(crate) scope: Option<Scope>,
}

impl Operation {
    /// Whether asking changes nothing, whoever asks.
    pub(crate) fn is_safe(&self) -> bool {
        self.method == Method::GET || self.id.starts_with("batchGet")
    }

    /// Whether the path has a parameter.
    pub(crate) fn names(&self, parameter: &str) -> bool {
        self.template.contains(&format!("{{{parameter}}}"))
    }
}

/// Every operation under `/v1`.
pub(crate) fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    let paths = document["paths"].as_object().expect("paths");
    for (template, item) in paths.iter().filter(|(path, _)| path.starts_with("/v1/")) {
        for (method, operation) in item.as_object().expect("operations") {
            let scope = operation["x-scope"].as_str();
            let scope = scope.unwrap_or_else(|| panic!("{method} {template} declares no scope"));
            let scope = (scope != "any").then(|| scope.parse().expect("a known scope"));
            operations.push(Operation {
                id: operation["operationId"].as_str().expect("an id").to_owned(),
                method: method.to_uppercase().parse().expect("a method"),
                template: template.clone(),
                scope,
            });
        }
    }
    operations
}

/// What the parameters of a path are filled with. A new parameter becomes a field here, and the matrix
/// then says what it is for each tenant.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) tenant: String,
    pub(crate) service: String,
    pub(crate) key: String,
    pub(crate) run: String,
    pub(crate) erasure: String,
    pub(crate) release: String,
    pub(crate) prefix: String,
    pub(crate) segment: String,
    pub(crate) webhook: String,
}

impl Names {
    /// The first service of a world.
    pub(crate) fn of(tenant: &str, service: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            service: service.to_owned(),
            key: "1".to_owned(),
            run: "1".to_owned(),
            erasure: "1".to_owned(),
            release: "0.0.1".to_owned(),
            prefix: "aaaaaaaa".to_owned(),
            segment: "loyal".to_owned(),
            webhook: "campaigns".to_owned(),
        }
    }

    /// The path of an operation.
    pub(crate) fn fill(&self, template: &str) -> String {
        let mut path = template.to_owned();
        for (parameter, value) in [
            ("tenant", &self.tenant),
            ("service", &self.service),
            ("key", &self.key),
            ("run", &self.run),
            ("erasure", &self.erasure),
            ("release", &self.release),
            ("prefix", &self.prefix),
            ("segment", &self.segment),
            ("webhook", &self.webhook),
        ] {
            path = path.replace(&format!("{{{parameter}}}"), value);
        }
        assert!(
            !path.contains('{'),
            "nobody knows how to fill {path}: give `Names` in services/api/tests/api/sweep.rs a field for \
             the new parameter, and say in `Planted::names` of matrix/plant.rs what it is for each tenant"
        );
        path
    }
}
