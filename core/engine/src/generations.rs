//! Which physical copies of a read model are there, and what may become of each? One life for all of them, whatever store
//! they lie in.
//!
//! A store reads the registry's rows, asks [`life`] what a step makes of them, and writes what it is told by
//! compare-and-set, in the same transaction: stores decide nothing themselves. [`retention`] says which retired
//! generations nobody needs any more.

mod generation;
pub mod life;
pub mod retention;

pub use self::generation::{BehindComponent, Checkpoints, Generation, GenerationId, GenerationState};
