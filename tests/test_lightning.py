"""A PyTorch Lightning trainer drives a method of the library, as it would torch.optim.LBFGS."""

import warnings

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import dlopt

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its dependencies deprecate is not ours to mend
    import pytorch_lightning as lightning

pytestmark = pytest.mark.filterwarnings("ignore::Warning")


class Classifier(lightning.LightningModule):
    """Two layers; the optimiser is the only line that names this library."""

    def __init__(self, method: dlopt.Method) -> None:
        super().__init__()
        self.method = method
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
        )
        self.losses: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        x, y = batch
        return cross_entropy(self.net(x), y)

    def on_train_batch_end(self, outputs: dict[str, Tensor], batch: object, index: int) -> None:
        self.losses.append(float(outputs["loss"]))

    def configure_optimizers(self) -> dlopt.MethodOptimizer:
        return dlopt.MethodOptimizer(self.parameters(), self.method, full_batch=True)


def data() -> TensorDataset:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(90, 4, generator=g)
    return TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())


def trainer(epochs: int, folder: object) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(folder),
    )


METHODS = {
    "conjugate_gradient": dlopt.ConjugateGradient(),
    "bfgs": dlopt.BFGS(),
    "lbfgs": dlopt.LBFGS(),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_trainer_trains_a_module(name: str, tmp_path: object) -> None:
    lightning.seed_everything(0, verbose=False)
    module = Classifier(METHODS[name])
    trainer(30, tmp_path).fit(module, DataLoader(data(), batch_size=90))
    assert module.losses[0] > 0.8
    assert module.losses[-1] < 0.1
    assert module.losses[-1] == pytest.approx(min(module.losses), rel=1e-2)


def test_a_trainer_resumes_from_its_checkpoint(tmp_path) -> None:
    def weights(module: Classifier) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in module.parameters()])

    lightning.seed_everything(0, verbose=False)
    whole = Classifier(dlopt.LBFGS())
    start = {k: v.clone() for k, v in whole.state_dict().items()}
    trainer(6, tmp_path).fit(whole, DataLoader(data(), batch_size=90))

    first = Classifier(dlopt.LBFGS())
    first.load_state_dict(start)
    half = trainer(3, tmp_path)
    half.fit(first, DataLoader(data(), batch_size=90))
    half.save_checkpoint(tmp_path / "half.ckpt")
    second = Classifier(dlopt.LBFGS())
    trainer(6, tmp_path).fit(
        second, DataLoader(data(), batch_size=90), ckpt_path=tmp_path / "half.ckpt"
    )
    torch.testing.assert_close(weights(second), weights(whole), rtol=1e-5, atol=1e-6)
