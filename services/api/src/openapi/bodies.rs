//! What is said of bodies.

use utoipa::openapi::{
    RefOr, Required, Schema,
    path::Operation,
    schema::{SchemaType, Type},
};

/// A body that may be left out is documented as such; `null` is not a way to leave it out.
pub(super) fn complete(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    let mut optional = false;
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let Some(RefOr::T(Schema::OneOf(choice))) = &mut content.schema else { continue };
        let choices = choice.items.len();
        choice.items.retain(|item| !is_null(item));
        if choice.items.len() == choices {
            continue;
        }
        optional = true;
        if choice.items.len() == 1 {
            content.schema = choice.items.pop();
        }
    }
    body.required = Some(if optional { Required::False } else { Required::True });
}

/// Whether an operation takes JSON.
pub(super) fn is_json(operation: &Operation) -> bool {
    matches!(&operation.request_body, Some(RefOr::T(body)) if body.content.contains_key("application/json"))
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object))
        if object.schema_type == SchemaType::Type(Type::Null))
}
