//! Requires a type with many fields to be split, or to give the reason why it is one type.

use syn::{Attribute, Expr, ExprLit, Fields, Item, Lit, Meta};

/// Maximum number of fields of a struct without a reason.
const MOST: usize = 15;

/// The words that introduce the reason in a doc comment.
const REASON: &str = "Many fields:";

/// Returns what is wrong with the structs of one file.
pub(crate) fn complaints(text: &str) -> Result<Vec<String>, String> {
    let parsed = syn::parse_file(text).map_err(|error| format!(": {error}"))?;
    let mut wrong = Vec::new();
    look(&parsed.items, &mut wrong);
    Ok(wrong)
}

fn look(items: &[Item], wrong: &mut Vec<String>) {
    for item in items {
        if let Item::Mod(module) = item {
            let inner = module.content.as_ref().map(|(_, items)| items.as_slice());
            look(inner.unwrap_or_default(), wrong);
        }
        let Item::Struct(it) = item else { continue };
        let Fields::Named(fields) = &it.fields else { continue };
        let count = fields.named.len();
        if count > MOST && !it.attrs.iter().any(is_reason) {
            let name = &it.ident;
            wrong.push(format!(
                ": {name} has {count} fields, {MOST} at most: make it two types, or say why it is one in a \
                 sentence that begins with `{REASON}`"
            ));
        }
    }
}

fn is_reason(attribute: &Attribute) -> bool {
    let Meta::NameValue(doc) = &attribute.meta else { return false };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &doc.value else { return false };
    doc.path.is_ident("doc") && text.value().contains(REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_fields(count: usize, doc: &str) -> String {
        let fields: String = (0..count).map(|n| format!("f{n}: u8,")).collect();
        format!("mod inner {{\n/// A thing.{doc}\nstruct Thing {{ {fields} }}\n}}")
    }

    #[test]
    fn a_struct_of_many_fields_says_why() {
        assert_eq!(complaints(&with_fields(15, "")), Ok(vec![]));
        let wrong = complaints(&with_fields(16, "")).unwrap();
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].starts_with(": Thing has 16 fields"), "{wrong:?}");
        assert_eq!(complaints(&with_fields(16, " Many fields: it is one object.")), Ok(vec![]));
    }
}
