//! Archives of directories, and patterns of their paths.

use coldkeep_client::pattern::Pattern;
use coldkeep_client::pxar::{Archive, Contents, Decoder, Event, Node};

/// Whatever the bytes, reading from front to back and by the tables ends, and each finds no more than is there.
pub fn check(input: &[u8]) {
    check_decoder(input);
    check_archive(input);
    if let Ok(pattern) = Pattern::new(input) {
        assert_eq!(pattern.as_bytes(), input);
        pattern.matches(input, true);
    }
}

fn check_decoder(input: &[u8]) {
    let Ok(mut decoder) = Decoder::new(input) else { return };
    let (mut events, mut end) = (0, 0);
    while let Ok(Some(event)) = decoder.next_event() {
        events += 1;
        assert!(events <= input.len());
        let Event::Entry(entry) = event else { continue };
        assert!(entry.at >= end, "an entry begins in another one");
        if let Node::File(_, Contents::Here { at, size }) = entry.node {
            end = at.saturating_add(size);
        }
    }
}

fn check_archive(input: &[u8]) {
    let Ok(archive) = Archive::open(input) else { return };
    let (mut open, mut seen) = (vec![archive.root().clone()], 0);
    while let Some(directory) = open.pop() {
        let Ok(places) = archive.places(&directory) else { continue };
        for place in places {
            seen += 1;
            assert!(seen <= input.len());
            let Ok(entry) = archive.entry(place) else { continue };
            let _ = archive.find(&directory, &entry.name);
            match entry.node {
                Node::Directory(metadata) => open.extend(archive.directory(place, metadata)),
                Node::HardLink(link) => drop(archive.follow(&link)),
                _ => {}
            }
        }
    }
}
