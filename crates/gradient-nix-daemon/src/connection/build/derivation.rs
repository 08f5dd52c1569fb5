use std::collections::{BTreeMap, BTreeSet};

use gradient_nix::{CAHash, Derivation, Output, StorePath};

use crate::{Error, wire::Writer};

/// A derivation that is ready to be built: its inputs are plain paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicDerivation {
    /// Its outputs by name.
    pub outputs: BTreeMap<String, BasicOutput>,
    /// Everything that its builder needs of the store; what those refer to comes along.
    pub inputs: BTreeSet<StorePath>,
    /// What it runs on.
    pub system: String,
    /// The program.
    pub builder: String,
    /// The program's arguments.
    pub arguments: Vec<String>,
    /// The program's environment.
    pub environment: BTreeMap<String, Vec<u8>>,
}

/// One output of a [`BasicDerivation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicOutput {
    /// Where it goes.
    pub path: StorePath,
    /// The hash that its content has to have.
    pub content: Option<CAHash>,
}

impl BasicDerivation {
    /// The derivation with the paths `inputs` in place of its input derivations; its input sources are added. An output whose
    /// path is not known before is an [`Error::Unresolved`], and an input that is not an [`Error::Dynamic`].
    pub fn new(derivation: &Derivation, inputs: impl IntoIterator<Item = StorePath>) -> Result<Self, Error> {
        if let Some((input, _)) = derivation.input_derivations().iter().find(|(_, input)| input.is_dynamic()) {
            return Err(Error::Dynamic { input: input.clone().into() });
        }
        let mut inputs: BTreeSet<_> = inputs.into_iter().collect();
        inputs.extend(derivation.input_sources().iter().cloned().map(StorePath::from));
        let mut outputs = BTreeMap::new();
        for (name, output) in derivation.outputs() {
            let path = output.path(derivation.name(), name).ok().flatten();
            let path = path.ok_or_else(|| Error::Unresolved { output: name.clone() })?.into();
            let content = match output {
                Output::Fixed { ca } => Some(ca.clone()),
                _ => None,
            };
            outputs.insert(name.clone(), BasicOutput { path, content });
        }
        let mut environment = derivation.environment().clone();
        if let Some(attributes) = derivation.structured_attrs() {
            environment.insert("__json".into(), attributes.raw_json().to_vec());
        }
        Ok(Self {
            outputs,
            inputs,
            system: derivation.system().into(),
            builder: derivation.builder().into(),
            arguments: derivation.arguments().to_vec(),
            environment,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.count(self.outputs.len());
        for (name, output) in &self.outputs {
            let (method, digest) = output.content.as_ref().map(method_and_digest).unwrap_or_default();
            writer.text(name).text(output.path.to_absolute()).text(method).text(digest);
        }
        super::super::paths(writer, self.inputs.iter());
        writer.text(&self.system).text(&self.builder).texts(self.arguments.iter());
        writer.count(self.environment.len());
        for (name, value) in &self.environment {
            writer.text(name).text(value);
        }
    }
}

/// As they stand in a derivation: `r:sha256` and hexadecimal digits.
fn method_and_digest(content: &CAHash) -> (String, String) {
    let prefix = match content {
        CAHash::Flat(_) => "",
        CAHash::Nar(_) => "r:",
        CAHash::Text(_) => "text:",
        CAHash::Git(_) => "git:",
    };
    let hash = content.hash();
    let tagged = hash.to_nix_base16_string();
    let digest = tagged.split_once(':').map_or("", |(_, digest)| digest);
    (format!("{prefix}{}", hash.algorithm()), digest.to_owned())
}
