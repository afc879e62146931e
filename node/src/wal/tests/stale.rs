//! Valid records that came back after the truncation that removed them was forgotten: only the chain gives them away.

use super::scene::{Part, Piece, Scene};
use super::*;
use crate::types::Vote;
use crate::wal::Hole;

/// Entries 2 to 4 were written under term 3, cut, and written again under term 2 (a leader of term 4 had them so). Then
/// so many truncations followed that the meta record knows nothing of that one. Returns what lay on disk before it.
fn rewritten() -> (Scene, Vec<(Piece, Vec<u8>)>) {
    let mut scene = Scene::new();
    scene.open().unwrap();
    let vote = |scene: &Scene, term| scene.log().save_vote(Vote { term, node: 1, committed: true }).unwrap();
    let append = |scene: &Scene, term, indexes: std::ops::Range<u64>, text: &'static str| {
        let entries: Vec<_> = indexes.map(|index| entry(term, index, text)).collect();
        scene.log().append(&entries).unwrap();
        scene.log().sync().unwrap();
    };
    vote(&scene, 3);
    append(&scene, 2, 0..2, "same");
    append(&scene, 3, 2..5, "old!");
    scene.look();
    let pieces = (2..5).flat_map(|index| [Part::Identifier, Part::Frame].map(|part| scene.piece(index, part)));
    let old = pieces.map(|piece| (piece.clone(), scene.bytes(&piece))).collect();
    vote(&scene, 4);
    scene.log().truncate_after(Some(LogId { term: 2, index: 1 })).unwrap();
    append(&scene, 2, 2..5, "new!");
    for index in 5..25 {
        append(&scene, 4, index..index + 2, "cut");
        scene.log().truncate_after(Some(LogId { term: 4, index })).unwrap();
    }
    scene.close();
    scene.disk.kill();
    (scene, old)
}

#[test]
fn an_old_entry_between_new_ones_is_a_hole() {
    for index in 2..5 {
        let (mut scene, old) = rewritten();
        let at = (index - 2) as usize * 2;
        for (piece, bytes) in &old[at..at + 2] {
            scene.disk.overwrite(&piece.path, piece.range.start, bytes);
        }
        if index == 4 {
            // Its neighbours are of the terms 2 and 4.
            let refusal = scene.open().unwrap_err().to_string();
            assert!(refusal.contains("entries 4 to 4"), "{refusal}");
            continue;
        }
        let opened = scene.open().unwrap();
        assert_eq!(opened.holes, [Hole { term: 2, index }]);
        assert_eq!(opened.last, Some(LogId { term: 4, index: 24 }));
        let rest: Vec<RawEntry> = (index + 1..5).map(|index| entry(2, index, "new!")).collect();
        assert_eq!(scene.log().read(index + 1..5, usize::MAX).unwrap(), rest);
    }
}

#[test]
fn an_old_half_gives_way_to_the_new_one() {
    for (place, half) in ["identifier", "frame"].into_iter().enumerate() {
        let (mut scene, old) = rewritten();
        let (piece, bytes) = &old[place];
        scene.disk.overwrite(&piece.path, piece.range.start, bytes);
        let opened = scene.open().unwrap();
        match half {
            "identifier" => {
                assert_eq!((opened.holes, opened.repaired.len()), (vec![], 1));
                assert_eq!(scene.log().read(2..3, usize::MAX).unwrap(), [entry(2, 2, "new!")]);
            }
            _ => assert_eq!(opened.holes, [Hole { term: 2, index: 2 }]),
        }
    }
}
