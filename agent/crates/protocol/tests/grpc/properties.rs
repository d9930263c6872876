//! What holds for any content.

use proptest::prelude::*;

use crate::script;

proptest! {
    #[test]
    fn any_script(script in proptest::collection::vec(any::<u8>(), 0..400)) {
        script::run(&script);
    }
}
