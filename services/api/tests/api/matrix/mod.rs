//! Every route, asked by everybody for everything: nobody gets a byte that is not theirs, and what
//! somebody may not see cannot be told from what does not exist.
//!
//! The routes come from the document, so a new one is asked as well. The last test takes each check of
//! the platform away and demands that the matrix then finds what it had kept back.

mod credentials;
mod plant;
mod probes;

use cameo_checkpoint::{Check, switch_off};

use self::{plant::Planted, probes::Matrix};

/// Questions of the whole matrix at least; fewer would mean that it lost its routes.
const QUESTIONS_MIN: usize = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_byte_that_is_not_theirs() {
    let planted = Planted::start().await;
    let mut matrix = Matrix::of(&planted).await;
    let leaks = matrix.all_leaks().await;
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    assert!(matrix.asked() >= QUESTIONS_MIN, "only {} questions were asked", matrix.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_one_check_the_matrix_finds_a_leak() {
    let mut planted = Planted::start().await;
    let mut kept_by_none = Vec::new();
    for check in Check::ALL {
        let leak = {
            let _off = switch_off(check);
            Matrix::of(&planted).await.first_leak().await
        };
        if leak.is_none() {
            kept_by_none.push(check);
        }
        // What should not have been done may have been done: start anew.
        if leak.is_none_or(|leak| leak.changes) {
            planted = Planted::start().await;
        } else {
            planted.forget();
        }
    }
    assert!(kept_by_none.is_empty(), "nothing was found without {kept_by_none:?}");
}
