//! The Coldkeep backup server and command line.
