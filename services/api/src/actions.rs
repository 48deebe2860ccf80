//! The methods of a resource and of the actions on it, `POST …/{name}:<action>`.
//!
//! The router cannot match what follows a parameter within a segment, so a resource and its actions share a route
//! there. The document tells them apart; this holds requests to it, so that `Allow` never names a method
//! that only the other of the two has.

use std::collections::HashMap;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, Method, header},
};
use utoipa::openapi::{OpenApi, PathItem};

use crate::{
    extract::PathParams,
    problem::{Code, Problem},
};

/// What the document says of the routes that have actions, by the router's template.
pub(crate) struct Actions(Vec<(String, Methods)>);

#[derive(Default)]
struct Methods {
    /// The parameter that an action follows.
    parameter: String,
    /// Of the resource itself.
    plain: Vec<Method>,
    /// Of each action.
    of_action: HashMap<String, Vec<Method>>,
}

impl Actions {
    /// Reads the document.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let mut routes: HashMap<String, Methods> = HashMap::new();
        for (path, item) in &document.paths.paths {
            let Some((resource, action)) = path.rsplit_once("}:") else { continue };
            let methods = routes.entry(format!("{resource}}}")).or_default();
            let parameter = resource.rsplit('{').next().unwrap_or_default();
            parameter.clone_into(&mut methods.parameter);
            methods.of_action.insert(action.to_owned(), methods_of(item));
        }
        for (template, methods) in &mut routes {
            methods.plain = document.paths.paths.get(template).map(methods_of).unwrap_or_default();
        }
        Self(routes.into_iter().collect())
    }

    /// Refuses a method that the resource, or the action on it, does not have.
    pub(crate) fn check(&self, request: &Request, params: &PathParams) -> Result<(), Problem> {
        let Some(route) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
        let known = self.0.iter().find(|(template, _)| template == route.as_str());
        let Some((_, methods)) = known else { return Ok(()) };
        let allowed = match params.text(&methods.parameter).rsplit_once(':') {
            Some((_, action)) => methods.of_action.get(action),
            None => Some(&methods.plain),
        };
        // What the document does not know is for the handler to refuse.
        match allowed {
            Some(allowed) if !allowed.is_empty() && !allowed.contains(request.method()) => {
                let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
                let allow = HeaderValue::try_from(names.join(","));
                let headers = allow.into_iter().map(|allow| (header::ALLOW, allow));
                let detail = "the route has no such method; `Allow` lists those that it has";
                Err(Problem::new(Code::MethodNotAllowed, detail).with_headers(headers))
            }
            _ => Ok(()),
        }
    }
}

fn methods_of(item: &PathItem) -> Vec<Method> {
    let declared = [
        (item.delete.is_some(), Method::DELETE),
        (item.get.is_some(), Method::GET),
        (item.get.is_some(), Method::HEAD),
        (item.patch.is_some(), Method::PATCH),
        (item.post.is_some(), Method::POST),
        (item.put.is_some(), Method::PUT),
    ];
    declared.into_iter().filter_map(|(has, method)| has.then_some(method)).collect()
}
