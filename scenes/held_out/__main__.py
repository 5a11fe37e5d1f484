"""Run as: python -m scenes.held_out --out tasks"""

from scenes.held_out.clip_tasks import main

if __name__ == "__main__":
    main()
