"""The pictures that both sides record: a textured scene, moving things, sensor noise. Needs only numpy."""

import numpy as np

HEIGHT, WIDTH, FPS = 480, 640, 30
CAMERAS = ("front", "wrist")
JOINTS = tuple(f"joint_{i}.pos" for i in range(6))


def names(count: int) -> tuple[str, ...]:
    """Names of so many cameras."""
    return (*CAMERAS, *(f"camera{k}" for k in range(len(CAMERAS), count)))[:count]


def pictures(seed: int, count: int = 60) -> list[np.ndarray]:
    """RGB pictures (480, 640, 3) uint8 with noise of 2 grey levels: harder to code than most real video."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (HEIGHT // 16, WIDTH // 16, 3))
    texture = np.repeat(np.repeat(coarse, 16, axis=0), 16, axis=1) + rng.integers(0, 25, (HEIGHT, WIDTH, 3))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    found = []
    for k in range(count):
        picture = texture.copy()
        picture[(y - 240) ** 2 + (x - 60 - 8 * k) ** 2 < 1600] = (200, 30, 30)
        top = (5 * k) % 400
        picture[top : top + 60, 300:360] = (20, 200, 60)
        noisy = picture + rng.normal(0.0, 2.0, picture.shape)
        found.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return found


def state(k: int) -> np.ndarray:
    """Joint positions of row k, (6,) float32."""
    return np.sin(0.05 * k + np.arange(6)).astype(np.float32)
