"""NATS and JetStream, as thin as our needs: publish that is known to have arrived, loops that survive a killed server,
request and reply, the event stream by cursor. Nobody above this package catches an exception of the NATS library.
"""

from auteur_kit.bus.connection import encode
from auteur_kit.bus.consuming import Consumer, Delivery
from auteur_kit.bus.event_log import EventLog, Position
from auteur_kit.bus.messaging import Bus, Listener, TooLarge

__all__ = ["Bus", "Consumer", "Delivery", "EventLog", "Listener", "Position", "TooLarge", "encode"]
