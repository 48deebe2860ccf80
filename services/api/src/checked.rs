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
};
use futures_util::future::Either;
use tower::{Layer, Service};

use crate::problem::Problem;

/// A check of requests, which may add to them.
pub(crate) trait Check: Fn(&mut Request) -> Result<(), Problem> + Clone {}

impl<C: Fn(&mut Request) -> Result<(), Problem> + Clone> Check for C {}

/// Lets through what `check` lets through.
pub(crate) fn checked<C>(check: C) -> Checked<C>
where
    C: Fn(&mut Request) -> Result<(), Problem> + Clone,
{
    Checked(check)
}

/// See [`checked`].
#[derive(Clone)]
pub(crate) struct Checked<C>(C);

impl<C: Check, S> Layer<S> for Checked<C> {
    type Service = CheckedService<C, S>;

    fn layer(&self, inner: S) -> Self::Service {
        CheckedService { check: self.0.clone(), inner }
    }
}

/// What a [`Checked`] layer makes of a service.
#[derive(Clone)]
pub(crate) struct CheckedService<C, S> {
    check: C,
    inner: S,
}

impl<C, S> Service<Request> for CheckedService<C, S>
where
    C: Check,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match (self.check)(&mut request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(problem) => Either::Left(ready(Ok(problem.into_response()))),
        }
    }
}
