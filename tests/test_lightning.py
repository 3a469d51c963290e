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


def trainer(epochs: int, folder: object, callbacks: object = None) -> lightning.Trainer:
    return lightning.Trainer(
        callbacks=callbacks,
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


class Thaw(lightning.callbacks.BaseFinetuning):
    """Trains the last layer alone for some epochs, then both."""

    def __init__(self, added: bool) -> None:
        super().__init__()
        self.added = added

    def freeze_before_training(self, module: lightning.LightningModule) -> None:
        self.freeze(module.net[0])

    def finetune_function(self, module, epoch: int, optimizer: dlopt.MethodOptimizer) -> None:
        if epoch == 3 and self.added:
            self.unfreeze_and_add_param_group(module.net[0], optimizer, initial_denom_lr=1.0)
        elif epoch == 3:
            self.make_trainable(module.net[0])


class Partly(Classifier):
    """Hands over what requires a gradient at the start, or all parameters."""

    def __init__(self, method: dlopt.Method, every: bool) -> None:
        super().__init__(method)
        self.every = every

    def configure_optimizers(self) -> dlopt.MethodOptimizer:
        parameters = [p for p in self.parameters() if p.requires_grad or self.every]
        return dlopt.MethodOptimizer(parameters, self.method, full_batch=True)


@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("method", [dlopt.GradientDescent(0.5), dlopt.LBFGS()])
def test_layers_are_thawed_by_a_finetuning_callback(method, added: bool, tmp_path) -> None:
    lightning.seed_everything(0, verbose=False)
    module = Partly(method, every=not added)
    before = module.net[0].weight.detach().clone()
    moved = []

    class Watch(lightning.Callback):
        def on_train_epoch_end(self, trainer, module) -> None:
            moved.append(not torch.equal(module.net[0].weight, before))

    callbacks = [Thaw(added), Watch()]
    run = trainer(6, tmp_path, callbacks)
    if added and not isinstance(method, dlopt.GradientDescent):
        with pytest.raises(ValueError, match="to thaw layers later, hand over all parameters"):
            run.fit(module, DataLoader(data(), batch_size=90))
        return
    run.fit(module, DataLoader(data(), batch_size=90))
    assert moved == [False] * 3 + [True] * 3
    assert module.losses == sorted(module.losses, reverse=True)


class ThawFrom(Thaw):
    """A callback that may be taken up again: what is thawed follows from the epoch alone."""

    def finetune_function(self, module, epoch: int, optimizer: dlopt.MethodOptimizer) -> None:
        if epoch >= 3:
            self.make_trainable(module.net[0])


@pytest.mark.parametrize("saved_after", [2, 3, 4, 5])
@pytest.mark.parametrize("name", METHODS)
def test_fine_tuning_resumes_before_and_after_layers_are_thawed(
    name: str, saved_after: int, tmp_path
) -> None:
    loader = DataLoader(data(), batch_size=90)

    def fitted(epochs: int, start: object = None) -> tuple[Partly, lightning.Trainer]:
        lightning.seed_everything(0, verbose=False)
        module = Partly(METHODS[name], every=True)
        run = trainer(epochs, tmp_path, [ThawFrom(added=False)])
        run.fit(module, loader, ckpt_path=start)
        return module, run

    whole, _ = fitted(8)
    _, half = fitted(saved_after)
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = fitted(8, tmp_path / "half.ckpt")
    assert len(resumed.losses) == 8 - saved_after
    assert resumed.losses == pytest.approx(whole.losses[saved_after:], rel=1e-5)
    assert whole.losses == sorted(whole.losses, reverse=True)


def test_a_scheduler_of_a_trainer_is_honoured(tmp_path) -> None:
    class Scheduled(Classifier):
        def configure_optimizers(self):
            optimizer = super().configure_optimizers()
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]

    module = Scheduled(dlopt.GradientDescent(0.5))
    run = trainer(4, tmp_path)
    run.fit(module, DataLoader(data(), batch_size=90))
    assert run.optimizers[0].param_groups[0]["lr"] == 0.5**5
