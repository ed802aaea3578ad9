//! Bounded reading and writing of the XML that S3 speaks.
//!
//! Pure: bytes in, values out. The body was bounded by whoever read it from the connection; here depth, names and texts are bounded, so
//! that time and memory are linear in the body. There are no entities to expand: a document type declaration is refused, and of the
//! references only those five that XML predefines and those to characters are known (XML 1.0, section 4.6).
//!
//! Elements are matched by their local name, because servers differ in namespace and prefix (`s3-servers.md`, section 3, point 9). A
//! document that ends early, or goes on after its end, is an error: a cut listing must never pass for a shorter one (I6).

mod error;
mod error_document;
mod reader;
mod value;
mod writer;

pub use error::XmlError;
pub use error_document::ErrorDocument;
pub(crate) use reader::{Reader, parse, parse_either};
pub(crate) use value::Encoding;
pub(crate) use writer::Writer;
pub(crate) use writer::{NotInXml, is_writable};
