//! What comes from outside, made up by chance: nothing that can be read makes us panic, what is accepted works and is
//! read back as the same, and what is refused is refused in a few words.
//!
//! An ordinary run tries 256 of each; `PROPTEST_CASES=1000000` tries more (`make fuzz`).

mod hostile_input {
    mod data;
    mod filters;
    mod largest;
    mod profiles;
    mod signatures;
    mod templates;
    mod texts;
}
