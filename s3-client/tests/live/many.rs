//! Many requests at once, and not too many.

use std::future::Future;

use futures_util::{StreamExt as _, stream};

const IN_FLIGHT: usize = 32;

/// Carries out all, some at once; the results come in the order of the futures.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let futures: Vec<F> = futures.into_iter().collect();
    stream::iter(futures).buffered(IN_FLIGHT).collect().await
}
