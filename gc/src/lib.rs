//! Mark-and-sweep collection of unreferenced chunks that cannot lose one in use.
