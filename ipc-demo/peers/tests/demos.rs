//! Every demonstration is run, every fact must hold, and nothing may be left: nothing of iceoryx2's either.

#[test]
fn every_demonstration_holds_and_leaves_nothing() {
    let wrong = shared::audit::failures(env!("CARGO_BIN_EXE_peers"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
