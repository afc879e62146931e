//! A state that lets something happen just before a view opens and just after it closes: the two moments of a step in
//! which a writer can get between.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::storage::{Column, Engine, EngineError, Scan, View};
use crate::watch::StateSource;

pub struct Hooked {
    pub engine: Arc<dyn Engine>,
    pub before_view: Box<dyn Fn() + Send + Sync>,
    pub after_view: Box<dyn Fn() + Send + Sync>,
}

impl StateSource for Hooked {
    fn view(&self) -> Box<dyn View + '_> {
        (self.before_view)();
        Box::new(HookedView { view: Some(self.engine.view()), after: &*self.after_view })
    }
}

struct HookedView<'e> {
    /// `None` once it is closed.
    view: Option<Box<dyn View + 'e>>,
    after: &'e (dyn Fn() + Send + Sync),
}

impl Drop for HookedView<'_> {
    fn drop(&mut self) {
        self.view = None;
        (self.after)();
    }
}

impl View for HookedView<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.view.as_ref().expect("still open").get(column, key)
    }

    fn scan(
        &self,
        column: Column,
        scan: Scan<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.view.as_ref().expect("still open").scan(column, scan, visit)
    }
}
