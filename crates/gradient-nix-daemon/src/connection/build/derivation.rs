use std::collections::{BTreeMap, BTreeSet};

use gradient_nix::{CAHash, ContentAddressMethod, Derivation, HashAlgorithm, Output, StorePath};

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
pub enum BasicOutput {
    /// It goes to this path, whatever it is.
    InputAddressed(StorePath),
    /// It goes to this path, and has to have this content.
    Fixed(StorePath, CAHash),
    /// Its path follows from its content, hashed so. Only a daemon with the feature `ca-derivations` builds it.
    ContentAddressed(ContentAddressMethod, HashAlgorithm),
}

impl BasicOutput {
    /// Where it goes, if that is known beforehand.
    pub const fn path(&self) -> Option<&StorePath> {
        match self {
            Self::InputAddressed(path) | Self::Fixed(path, _) => Some(path),
            Self::ContentAddressed(..) => None,
        }
    }
}

impl BasicDerivation {
    /// The derivation with the paths `inputs` in place of its input derivations; its input sources are added. An output whose
    /// path is not known because those of the inputs are not is an [`Error::Unresolved`], and an input that is not known an
    /// [`Error::Dynamic`].
    pub fn new(derivation: &Derivation, inputs: impl IntoIterator<Item = StorePath>) -> Result<Self, Error> {
        if let Some((input, _)) = derivation.input_derivations().iter().find(|(_, input)| input.is_dynamic()) {
            return Err(Error::Dynamic { input: input.clone().into() });
        }
        let mut inputs: BTreeSet<_> = inputs.into_iter().collect();
        inputs.extend(derivation.input_sources().iter().cloned().map(StorePath::from));
        let mut outputs = BTreeMap::new();
        for (name, output) in derivation.outputs() {
            let path = output.path(derivation.name(), name).ok().flatten().map(StorePath::from);
            let output = match (output, path) {
                (Output::Floating { method, hash_algorithm }, _) => match method {
                    ContentAddressMethod::Flat | ContentAddressMethod::Nar => {
                        BasicOutput::ContentAddressed(*method, *hash_algorithm)
                    }
                    ContentAddressMethod::Text | ContentAddressMethod::Git => {
                        return Err(Error::Unresolved { output: name.clone() });
                    }
                },
                (Output::Fixed { ca }, Some(path)) => BasicOutput::Fixed(path, ca.clone()),
                (_, Some(path)) => BasicOutput::InputAddressed(path),
                (_, None) => return Err(Error::Unresolved { output: name.clone() }),
            };
            outputs.insert(name.clone(), output);
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
            let path = output.path().map(StorePath::to_absolute).unwrap_or_default();
            let (method, digest) = match output {
                BasicOutput::InputAddressed(_) => Default::default(),
                BasicOutput::Fixed(_, content) => method_and_digest(content),
                BasicOutput::ContentAddressed(method, algorithm) => (format!("{}{algorithm}", prefix(*method)), String::new()),
            };
            writer.text(name).text(path).text(method).text(digest);
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
    let prefix = prefix(content.method());
    let hash = content.hash();
    let tagged = hash.to_nix_base16_string();
    let digest = tagged.split_once(':').map_or("", |(_, digest)| digest);
    (format!("{prefix}{}", hash.algorithm()), digest.to_owned())
}

const fn prefix(method: ContentAddressMethod) -> &'static str {
    match method {
        ContentAddressMethod::Flat => "",
        ContentAddressMethod::Nar => "r:",
        ContentAddressMethod::Text => "text:",
        ContentAddressMethod::Git => "git:",
    }
}
