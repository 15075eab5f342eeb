//! Forbids circles between the files of a crate, so that each file can be read after the files that it uses.
//!
//! A file depends on another one by a path in a `use`, an expression or a macro, followed through re-exports
//! to the file that defines the name. A file also depends on another one that contains methods of its own
//! type if it calls them. References from the parts of a module to the module itself do not count, except
//! through methods that the parts define for it: a type with methods in many files has to be read at once or
//! not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Attribute, ImplItem, Item, ItemImpl, ItemMod, ItemUse, Macro, Type, UseTree, Visibility,
};

use crate::run::Done;

/// A module by its names from the crate's root on. The root has none.
type Name = Vec<String>;

/// A type and its methods: the module of the path, the path to the type, the names of the methods.
type Written = (Name, Vec<String>, Vec<String>);

/// Maximum number of re-exports that are followed.
const DEPTH: usize = 16;

/// Fails on every circle.
pub(crate) fn check(root: &Path) -> Done {
    let mut sources = vec![root.join("xtask/src")];
    let crates = root.join("crates");
    let wrong = |error| format!("{}: {error}", crates.display());
    for entry in fs::read_dir(&crates).map_err(wrong)? {
        sources.push(entry.map_err(wrong)?.path().join("src"));
    }
    sources.sort();
    let mut found = Vec::new();
    for source in sources {
        let files = Files::read(&source)?;
        let name = source.strip_prefix(root).unwrap_or(&source).display().to_string();
        found.extend(files.circles().iter().map(|circle| format!("{name}: a circle: {circle}")));
    }
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// The files of one crate.
#[derive(Clone, Default)]
struct Files(BTreeMap<Name, File>);

/// The definitions and references of one file.
#[derive(Clone, Default)]
struct File {
    /// Names that the file defines.
    defines: BTreeSet<String>,
    /// Names that the file re-exports, with their origin, relative to the module in front.
    exports: Vec<(String, Name, Vec<String>)>,
    /// Modules that the file re-exports completely.
    globs: Vec<(Name, Vec<String>)>,
    /// Names that the file imports for itself.
    imports: BTreeMap<String, (Name, Vec<String>)>,
    /// Paths that the file uses, relative to the module in front.
    paths: Vec<(Name, Vec<String>)>,
    /// Types for which the file has an inherent `impl`, with the methods.
    impls: Vec<Written>,
    /// Names of methods and functions that the file calls.
    calls: BTreeSet<String>,
    /// Modules that exist for tests only.
    test_modules: BTreeSet<String>,
}

impl Files {
    fn read(source: &Path) -> Result<Self, String> {
        let mut found = Vec::new();
        collect(source, &mut Vec::new(), &mut found)?;
        let mut files = Self::default();
        for (name, path) in found {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            files.add(name, &text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        files.drop_tests();
        Ok(files)
    }

    fn add(&mut self, name: Name, text: &str) -> syn::Result<()> {
        let parsed = syn::parse_file(text)?;
        // A library and a program of one name share their root.
        let file = self.0.entry(name.clone()).or_default();
        Reader { file, base: name }.visit_file(&parsed);
        Ok(())
    }

    fn drop_tests(&mut self) {
        let tests: Vec<Name> = self
            .0
            .iter()
            .flat_map(|(name, file)| file.test_modules.iter().map(|test| child(name, test)))
            .collect();
        self.0.retain(|name, _| !tests.iter().any(|test| name.starts_with(test)));
    }

    /// Returns the files that each file uses.
    fn arrows(&self) -> BTreeMap<&Name, BTreeSet<&Name>> {
        let mut arrows: BTreeMap<&Name, BTreeSet<&Name>> =
            self.0.keys().map(|name| (name, BTreeSet::new())).collect();
        for (from, file) in &self.0 {
            for (base, path) in file.paths.iter().chain(file.imports.values()) {
                let to = self.resolve(base, path, DEPTH);
                if let Some(arrows) = arrows.get_mut(from).filter(|_| !is_part_of(from, to)) {
                    arrows.insert(to);
                }
            }
            for to in file.impls.iter().filter_map(|written| self.needs(from, written)) {
                for (one, other) in [(from, to), (to, from)] {
                    arrows.entry(one).or_default().insert(other);
                }
            }
        }
        arrows
    }

    /// Returns the file that calls these methods, which another file defines for its type.
    fn needs(&self, from: &Name, (base, path, methods): &Written) -> Option<&Name> {
        let file = self.0.get(from)?;
        let to = match path.as_slice() {
            [one] if file.defines.contains(one) => return None,
            [one] if file.imports.contains_key(one) => {
                let (base, path) = &file.imports[one];
                self.resolve(base, path, DEPTH)
            }
            _ => self.resolve(base, path, DEPTH),
        };
        let calls = |method| self.0.get(to).is_some_and(|file| file.calls.contains(method));
        (to != from && methods.iter().any(calls)).then_some(to)
    }

    /// Returns the file that a path leads to.
    fn resolve(&self, base: &[String], path: &[String], depth: usize) -> &Name {
        let mut at = base.to_vec();
        for (place, step) in path.iter().enumerate() {
            match step.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                name if self.0.contains_key(&child(&at, name)) => at.push(name.to_owned()),
                name => {
                    let rest = &path[place + 1..];
                    if let Some(found) = self.passed_on(&at, name, rest, depth) {
                        return found;
                    }
                    break;
                }
            }
        }
        // A module inside a file belongs to that file.
        while !self.0.contains_key(&at) && at.pop().is_some() {}
        self.0.get_key_value(&at).map_or_else(|| self.root(), |(name, _)| name)
    }

    /// Returns where a re-export of this name leads.
    fn passed_on(&self, at: &[String], name: &str, rest: &[String], depth: usize) -> Option<&Name> {
        let file = self.0.get(at)?;
        let depth = depth.checked_sub(1)?;
        if let Some((_, base, path)) = file.exports.iter().find(|(export, ..)| export == name) {
            return Some(self.resolve(base, &[&path[..], rest].concat(), depth));
        }
        if file.defines.contains(name) {
            return None;
        }
        file.globs.iter().find_map(|(base, path)| {
            let from = self.resolve(base, path, depth);
            let defines = self.0.get(from).is_some_and(|file| file.defines.contains(name));
            if defines { Some(from) } else { self.passed_on(from, name, rest, depth) }
        })
    }

    fn root(&self) -> &Name {
        // Every crate has a root, which is the first entry.
        self.0.keys().next().unwrap_or(const { &Vec::new() })
    }

    /// Returns the circles of files, each circle once.
    fn circles(&self) -> Vec<String> {
        let arrows = self.arrows();
        let reach: BTreeMap<&Name, BTreeSet<&Name>> =
            arrows.keys().map(|from| (*from, reached(from, &arrows))).collect();
        let mut circles = BTreeSet::new();
        for (from, reached) in &reach {
            let circle: Vec<String> = reached
                .iter()
                .filter(|to| reach[*to].contains(from))
                .map(|name| if name.is_empty() { "the root".to_owned() } else { name.join("/") })
                .collect();
            if circle.len() > 1 {
                circles.insert(circle.join(", "));
            }
        }
        circles.into_iter().collect()
    }
}

/// Returns all files that this one depends on, directly or not.
fn reached<'a>(
    from: &'a Name,
    arrows: &BTreeMap<&'a Name, BTreeSet<&'a Name>>,
) -> BTreeSet<&'a Name> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        open.extend(arrows[at].iter().filter(|to| seen.insert(**to)));
    }
    seen
}

/// Returns whether one module is part of another one. Such a module may use the other: the two are read
/// together. The root does not count, since all modules are part of it.
fn is_part_of(part: &Name, whole: &Name) -> bool {
    part == whole || !whole.is_empty() && part.starts_with(whole)
}

fn child(module: &[String], name: &str) -> Name {
    [module, &[name.to_owned()]].concat()
}

/// Collects the files below a folder by their modules. Programs in `bin` are crates of their own.
fn collect(folder: &Path, module: &mut Name, found: &mut Vec<(Name, PathBuf)>) -> Done {
    let wrong = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if path.is_dir() {
            if !(module.is_empty() && stem == "bin") {
                module.push(stem.to_owned());
                collect(&path, module, found)?;
                module.pop();
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_module = matches!(stem, "mod" | "lib" | "main");
            found.push((if is_module { module.clone() } else { child(module, stem) }, path));
        }
    }
    Ok(())
}

/// Reads one file.
struct Reader<'a> {
    file: &'a mut File,
    /// The module being read, including modules inside the file.
    base: Name,
}

impl Reader<'_> {
    fn import(&mut self, tree: &UseTree, path: &[String], is_export: bool) {
        match tree {
            UseTree::Path(step) => {
                self.import(&step.tree, &child(path, &step.ident.to_string()), is_export);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, path, is_export));
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                // `a::{self}` is a name for `a`.
                let known = if name == "self" { path.last().cloned() } else { Some(name.clone()) };
                self.imported(known.unwrap_or_default(), child(path, &name), is_export);
            }
            UseTree::Rename(name) => {
                let path = child(path, &name.ident.to_string());
                self.imported(name.rename.to_string(), path, is_export);
            }
            UseTree::Glob(_) if is_export => {
                self.file.globs.push((self.base.clone(), path.to_vec()))
            }
            UseTree::Glob(_) => self.file.paths.push((self.base.clone(), path.to_vec())),
        }
    }

    fn imported(&mut self, name: String, path: Vec<String>, is_export: bool) {
        if is_export {
            self.file.exports.push((name, self.base.clone(), path));
        } else {
            self.file.imports.insert(name, (self.base.clone(), path));
        }
    }

    /// Finds paths in the tokens of a macro, which are not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    self.file.calls.insert(name.to_string());
                    if colons != 2 {
                        self.path(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.path(std::mem::take(&mut path));
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.path(std::mem::take(&mut path)),
            }
        }
        self.path(path);
    }

    fn path(&mut self, path: Vec<String>) {
        if path.len() > 1 {
            self.file.paths.push((self.base.clone(), path));
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_for_tests) {
            if let Item::Mod(module) = item {
                self.file.test_modules.insert(module.ident.to_string());
            }
            return;
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "the rest has no name, or is no item")]
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.file.defines.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.base.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.base.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let is_export = !matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, &[], is_export);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if let (None, Type::Path(of)) = (&item.trait_, &*item.self_ty) {
            let path = of.path.segments.iter().map(|step| step.ident.to_string()).collect();
            let methods = item.items.iter().filter_map(|item| match item {
                ImplItem::Fn(method) => Some(method.sig.ident.to_string()),
                ImplItem::Const(_)
                | ImplItem::Type(_)
                | ImplItem::Macro(_)
                | ImplItem::Verbatim(_)
                | _ => None,
            });
            self.file.impls.push((self.base.clone(), path, methods.collect()));
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.file.calls.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.file.calls.extend(path.segments.last().map(|step| step.ident.to_string()));
        self.path(path.segments.iter().map(|step| step.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, found: &'ast Macro) {
        self.tokens(found.tokens.clone());
        visit::visit_macro(self, found);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only these are ever there for tests")]
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns whether the attribute is `#[cfg(test)]`.
fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_circle() {
        if let Err(why) = check(&crate::run::root()) {
            panic!("{why}");
        }
    }

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let mut read = Files::default();
        for (name, text) in files {
            let name = name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            read.add(name, text).unwrap();
        }
        read.drop_tests();
        read.circles()
    }

    #[test]
    fn a_circle_is_seen_however_it_is_written() {
        let root = ("", "mod a; mod b; mod c; pub use b::{B, go};");
        let back = ("b", "pub struct B; pub fn go() {} use crate::a::A;");
        for forth in [
            "pub struct A; use crate::b::B;",
            "pub struct A; use super::b;",
            "pub struct A; use crate::B as Other;",
            "pub struct A; fn f() { crate::go() }",
            "pub struct A; fn f(_: &[crate::b::B]) {}",
            "pub struct A; fn f() { assert!(matches!(x, super::B)) }",
            "pub struct A; use crate::{c::*, go};",
        ] {
            assert_eq!(circles(&[root, ("a", forth), back]), ["a, b"], "{forth}");
        }
        let longer = ("c", "pub use crate::b::B as Third;");
        let forth = ("a", "pub struct A; use crate::c::Third;");
        assert_eq!(circles(&[root, forth, back, longer]), ["a, b"], "seen through a re-export");
    }

    #[test]
    fn methods_in_another_file_make_a_circle() {
        let root = ("", "mod a; mod b;");
        let a = ("a", "pub struct A; impl A { fn f(&self) { self.g() } }");
        let methods = ("b", "use crate::a::A; impl A { pub fn g(&self) {} }");
        assert_eq!(circles(&[root, a, methods]), ["a, b"]);
        let not_called = ("b", "use crate::a::A; impl A { pub fn h(&self) {} }");
        assert_eq!(circles(&[root, a, not_called]), Vec::<String>::new());
        let of_a_trait = ("b", "use crate::a::A; impl Drop for A { fn drop(&mut self) {} }");
        assert_eq!(circles(&[root, a, of_a_trait]), Vec::<String>::new());
        let part = ("a/b", "use super::A; impl A { pub fn g(&self) {} }");
        let whole = ("a", "mod b; pub struct A; impl A { fn f(&self) { self.g() } }");
        assert_eq!(circles(&[("", "mod a;"), whole, part]), ["a, a/b"]);
        let whole = ("a", "mod b; pub struct A; impl A { fn f(&self) { b::go(); } }");
        assert_eq!(circles(&[("", "mod a;"), whole, part]), Vec::<String>::new());
    }

    #[test]
    fn what_is_there_for_tests_does_not_count() {
        let a = "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }";
        let b = ("b", "pub struct B; use crate::a::A;");
        assert_eq!(circles(&[("", "mod a; mod b;"), ("a", a), b]), Vec::<String>::new());
        let only = [("", "mod a; #[cfg(test)] mod b;"), ("a", "use crate::b::B;"), b];
        assert_eq!(circles(&only), Vec::<String>::new());
    }
}
