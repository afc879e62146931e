//! Where watch reads the state: it opens views, and can do nothing else.

use std::sync::Arc;

use crate::storage::{Engine, View};

/// The state as of now.
pub trait StateSource {
    fn view(&self) -> Box<dyn View + '_>;
}

impl StateSource for Arc<dyn Engine> {
    fn view(&self) -> Box<dyn View + '_> {
        self.as_ref().view()
    }
}
