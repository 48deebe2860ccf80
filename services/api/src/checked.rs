//! A layer that looks at a request and lets it through or answers in its place, at once.
//!
//! Unlike `axum::middleware::from_fn` it copies nothing: what it wraps is called where it is, without a future of its
//! own. Each copy of a route copies all layers below, so that layers of the other kind cost the square of their number.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
    routing::{Route, future::RouteFuture},
};
use futures_util::future::Either;
use tower::{Layer, Service, layer::layer_fn};

use crate::problem::Problem;

/// Lets through what `check` lets through, which may add to requests.
pub(crate) fn checked<C>(check: C) -> impl Layer<Route, Service = Checked<C>> + Clone
where
    C: Fn(&mut Request) -> Result<(), Problem> + Clone,
{
    layer_fn(move |inner| Checked { check: check.clone(), inner })
}

/// A route behind a check.
#[derive(Clone)]
pub(crate) struct Checked<C> {
    check: C,
    inner: Route,
}

impl<C> Service<Request> for Checked<C>
where
    C: Fn(&mut Request) -> Result<(), Problem>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match (self.check)(&mut request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(problem) => Either::Left(ready(Ok(problem.into_response()))),
        }
    }
}
